"""Bugs: kept in the log with an id and without secrets, and told to the person as that id alone."""

import logging
import secrets
import traceback

from policies.redact import redact


def report_bug(where: str, error: BaseException) -> tuple[str, str]:
    """Log the redacted traceback under a new id; returns the generic reason and the remedy that name it."""
    number = secrets.token_hex(4)
    text = "".join(traceback.format_exception(error))
    logging.getLogger("luthier").error("internal error %s in %s\n%s", number, where, redact(text))
    return f"Internal error {number}.", f"Look for {number} in the log, and report it."
