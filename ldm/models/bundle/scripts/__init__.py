"""What an exported bundle needs beside MONAI: copied into its scripts/ folder as it is."""
