"""Queues and events on RabbitMQ."""
