"""FID and KID of generated images."""
