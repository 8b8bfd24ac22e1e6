"""What a node tells Prometheus; the one owner of prometheus_client."""
