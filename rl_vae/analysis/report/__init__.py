"""The report: models, an agent and a comparison as one HTML page that runs the decoders."""

from rl_vae.analysis.report.page import Report, write_report

__all__ = ["Report", "write_report"]
