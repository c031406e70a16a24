"""Common shapes of folders that hold images and labels, each read into columns of a first manifest."""
