"""What Lambda stores: functions and their settings."""
