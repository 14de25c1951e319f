"""What is segmented: classes, regions, channels and the rules that follow from anatomy."""
