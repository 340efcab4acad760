"""Instruments over compiled nets: verify, gradcheck, doctor, bench."""
