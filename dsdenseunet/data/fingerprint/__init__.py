"""What a data set looks like: sizes, spacings, intensities and classes of its labelled cases."""
