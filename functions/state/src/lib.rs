//! What is kept: types, one narrow trait per use, the DynamoDB adapter and the table definitions.
