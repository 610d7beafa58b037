"""Tensor maths of diffusion without a model: schedules, draws, weightings, parametrisations."""
