"""Dataclasses in; text, markdown, charts, tables and pages out."""
