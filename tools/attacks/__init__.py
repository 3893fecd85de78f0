"""The parts of the attack: what a case is, the kinds of cases, the ground on which they are tried, and kills."""
