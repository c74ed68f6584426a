"""OpenTelemetry: traces, metrics and logs."""
