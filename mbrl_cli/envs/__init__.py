"""The real environments: gymnasium behind one adapter, own environments, true dynamics."""
