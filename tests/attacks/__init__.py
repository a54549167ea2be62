"""What an attacker could want, tried at the outermost door; docs/attacks.md says what each attack is and how it ends."""
