"""The baselines: LSGAN and VAE-GAN in 3D, unconditional."""
