"""Any ASGI or WSGI application as a task of a service, on uvicorn."""
