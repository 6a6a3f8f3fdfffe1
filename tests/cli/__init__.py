"""Tests of the command line, of rotation, migration and diagnosis."""
