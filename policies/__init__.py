"""What may happen, and the record of what did: proposals, verdicts, approvals, ledger, audit, the gateway."""
