"""The hands, one file a tool."""
