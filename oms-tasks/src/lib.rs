//! The five workers of an order-management system.
