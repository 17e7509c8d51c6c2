-- Where reporting reads, on the first start of the server. Tailrace makes the tables itself (`evolve: add`), and its table of offsets.
CREATE DATABASE IF NOT EXISTS reporting;
CREATE USER tailrace IDENTIFIED BY 'tailrace';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON reporting.* TO tailrace;
