"""Sections of the pages that show stored results, one module each; every `show` draws one."""
