"""Carries out the steps of a Dockerfile without a container engine, and tries what comes of them."""
