"""One self-contained HTML page per run, its table for the terminal, and several runs side by side."""

from ssmtl.report.compare import compare as compare
from ssmtl.report.page import write_report as write_report
from ssmtl.report.tables import metric_table as metric_table
