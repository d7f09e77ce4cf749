"""What the user wrote: model, loader, expansion."""
