"""Parts of the pages that take photos: what models answer and explain; torch comes with the first photo."""
