"""The conversation: a LangGraph agent, its brain, its prompt, its memory."""
