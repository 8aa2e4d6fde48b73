"""The report: one HTML file that holds everything a study found."""

from atlas_core.results.report.write import PlanRow, ReportFigure, write_report

__all__ = ["PlanRow", "ReportFigure", "write_report"]
