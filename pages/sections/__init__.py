"""The sections of the metrics page, one module each; every `show` draws one."""
