//! Makes the tables where no template does: in the embedded engine and in tests.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TimeToLiveSpecification,
};

use super::{DynamoStore, failure};
use crate::table::{TABLES, Table};
use crate::{Result, StoreError};

impl DynamoStore {
    /// Makes each table that is not there yet. Existing ones are left as they are.
    pub async fn create_tables(&self) -> Result<()> {
        for table in &TABLES {
            self.create_table(table).await?;
        }
        Ok(())
    }

    async fn create_table(&self, table: &Table) -> Result<()> {
        let mut keys = vec![(table.hash, KeyType::Hash)];
        keys.extend(table.range.map(|range| (range, KeyType::Range)));
        let mut attributes = vec![table.hash];
        attributes.extend(table.range);
        let mut request =
            self.client.create_table().table_name(self.table(table)).billing_mode(BillingMode::PayPerRequest);
        for (name, kind) in keys {
            request = request.key_schema(key_element(name, kind)?);
        }
        if let Some(index) = &table.index {
            attributes.extend([index.hash, index.range]);
            let projection = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
            let built = GlobalSecondaryIndex::builder()
                .index_name(index.name)
                .key_schema(key_element(index.hash, KeyType::Hash)?)
                .key_schema(key_element(index.range, KeyType::Range)?)
                .projection(projection)
                .build()
                .map_err(unbuilt)?;
            request = request.global_secondary_indexes(built);
        }
        attributes.sort_unstable();
        attributes.dedup();
        for name in attributes {
            let built = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
            request = request.attribute_definitions(built.build().map_err(unbuilt)?);
        }
        if let Err(error) = request.send().await {
            return match error.as_service_error() {
                Some(service) if service.is_resource_in_use_exception() => Ok(()),
                _ => Err(failure(error)),
            };
        }
        if let Some(attribute) = table.ttl {
            let ttl = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true);
            let request = self.client.update_time_to_live().table_name(self.table(table));
            let request = request.time_to_live_specification(ttl.build().map_err(unbuilt)?);
            request.send().await.map_err(failure)?;
        }
        Ok(())
    }
}

fn key_element(name: &str, kind: KeyType) -> Result<KeySchemaElement> {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().map_err(unbuilt)
}

fn unbuilt(error: aws_sdk_dynamodb::error::BuildError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
