"""The built-in tasks, as plugins that import ssmtl as any third party would."""
