"""The programs against their models, on packets and worlds that chance makes (docs/adr/0021)."""
