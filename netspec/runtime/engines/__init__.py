"""Nets and recipes for the engines that other people run. Modules here import lightning."""
