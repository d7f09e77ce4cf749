"""What tests need from the product, refused outside of tests."""
