"""Encoding a prepared cohort once, so that the diffusion model trains on latents."""
