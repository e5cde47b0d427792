"""Published methods, trained on the same data, with the same autoencoder, for as many images as ours."""
