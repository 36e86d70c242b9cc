"""Autobahn's suite, in both roles and over both versions of HTTP."""
