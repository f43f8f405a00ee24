"""The LUT-stationary engine, put together of channels, encoders, matchers and control."""
