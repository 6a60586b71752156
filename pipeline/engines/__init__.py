"""What computes: Spark, or scikit-learn where the rows are few. Both behind one port."""
