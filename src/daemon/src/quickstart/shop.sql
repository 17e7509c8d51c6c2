-- A shop as it might have been written fifteen years ago: no log for others. Rows are inserted, updated and deleted.

CREATE TABLE customers (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    email      TEXT,
    city       TEXT NOT NULL,
    updated_at TIMESTAMP NOT NULL
);

CREATE TABLE products (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    in_stock    INTEGER NOT NULL,
    updated_at  TIMESTAMP NOT NULL
);

CREATE TABLE orders (
    id          INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    status      TEXT NOT NULL,
    total_cents INTEGER NOT NULL,
    placed_at   TIMESTAMP NOT NULL,
    updated_at  TIMESTAMP NOT NULL
);

CREATE TABLE order_lines (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id    INTEGER NOT NULL REFERENCES orders (id),
    product_id  INTEGER NOT NULL REFERENCES products (id),
    quantity    INTEGER NOT NULL,
    price_cents INTEGER NOT NULL
);

WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 40)
INSERT INTO customers (id, name, email, city, updated_at)
SELECT n,
       json_extract('["Ada","Grace","Edsger","Barbara","Alan","Hedy","Niklaus","Radia"]', '$[' || (n % 8) || ']') || ' '
       || json_extract('["Miller","Weir","Brook","Sluys","Muehle","Rivera","Ström"]', '$[' || (n % 7) || ']'),
       'customer' || n || '@example.com',
       json_extract('["Utrecht","Porto","Graz","Leeds","Gdańsk"]', '$[' || (n % 5) || ']'),
       strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (4000 - n * 60) || ' minutes')
FROM number;

WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 24)
INSERT INTO products (id, name, price_cents, in_stock, updated_at)
SELECT n,
       json_extract('["oak","steel","brass","slate"]', '$[' || (n % 4) || ']') || ' '
       || json_extract('["water wheel","sluice gate","millstone","gear","shaft","bucket"]', '$[' || ((n - 1) / 4) || ']'),
       1995 + n * 350,
       20 + n % 7 * 10,
       strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (5000 - n * 60) || ' minutes')
FROM number;

WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 120)
INSERT INTO orders (id, customer_id, status, total_cents, placed_at, updated_at)
SELECT n,
       1 + n * 7 % 40,
       json_extract('["placed","paid","packed","shipped","delivered"]', '$[' || (4 - n / 25) || ']'),
       0,
       strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (1300 - n * 10) || ' minutes'),
       strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (1280 - n * 10) || ' minutes')
FROM number;

INSERT INTO order_lines (order_id, product_id, quantity, price_cents)
SELECT orders.id, products.id, 1 + (orders.id + products.id) % 3, products.price_cents
FROM orders
JOIN products ON products.id IN (1 + orders.id * 5 % 24, 1 + orders.id * 11 % 24)
ORDER BY orders.id, products.id;

UPDATE orders
SET total_cents = (SELECT sum(quantity * price_cents) FROM order_lines WHERE order_lines.order_id = orders.id);
