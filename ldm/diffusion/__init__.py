"""The mathematics of diffusion: noise schedules, samplers and guidance."""
