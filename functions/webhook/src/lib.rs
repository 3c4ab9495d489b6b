//! The HTTP client for customers' URLs: limits, retries, fallback, signatures, address guard.
