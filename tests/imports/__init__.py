"""Tests of models that come from other tools."""
