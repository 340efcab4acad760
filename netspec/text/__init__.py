"""Text for people: tables, and documents broken into lines that fit."""
