"""Tools that examine compiled nets: verify, gradcheck, doctor, bench."""
