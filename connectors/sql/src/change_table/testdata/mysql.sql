-- Made by tailrace triggers for the table public.orders, version cac0954315c0bc96.
-- A trigger that fails makes the application's write fail: nothing is left out without a word.
SET SESSION sql_mode = '';
SET SESSION lock_wait_timeout = 5;
CREATE TABLE `public`.`tailrace_changes_orders` (
  `sequence` bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
  `op` char(1) NOT NULL,
  `changed_at` datetime(6) NOT NULL,
  `version` char(16) NOT NULL,
  `old_id` bigint NULL,
  `new_id` bigint NULL,
  `old_note` varchar(20) NULL,
  `new_note` varchar(20) NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
ALTER TABLE `public`.`tailrace_changes_orders` COMMENT = 'Tailrace: changes of public.orders, version cac0954315c0bc96';
LOCK TABLES `public`.`orders` WRITE, `public`.`tailrace_changes_orders` WRITE;
DELIMITER //
CREATE TRIGGER `public`.`tailrace_insert_orders` AFTER INSERT ON `public`.`orders`
  FOR EACH ROW BEGIN
  DECLARE tailrace_version char(16) DEFAULT 'cac0954315c0bc96';
  INSERT INTO `public`.`tailrace_changes_orders` (`op`, `version`, `changed_at`, `new_id`, `new_note`)
    VALUES ('c', 'cac0954315c0bc96', UTC_TIMESTAMP(6), NEW.`id`, NEW.`note`);
END//
DELIMITER ;
DELIMITER //
CREATE TRIGGER `public`.`tailrace_update_orders` AFTER UPDATE ON `public`.`orders`
  FOR EACH ROW BEGIN
  DECLARE tailrace_version char(16) DEFAULT 'cac0954315c0bc96';
  IF NOT (OLD.`id` <=> NEW.`id` AND CAST(OLD.`note` AS BINARY) <=> CAST(NEW.`note` AS BINARY)) THEN
    INSERT INTO `public`.`tailrace_changes_orders` (`op`, `version`, `changed_at`, `old_id`, `old_note`, `new_id`, `new_note`)
      VALUES ('u', 'cac0954315c0bc96', UTC_TIMESTAMP(6), OLD.`id`, OLD.`note`, NEW.`id`, NEW.`note`);
  END IF;
END//
DELIMITER ;
DELIMITER //
CREATE TRIGGER `public`.`tailrace_delete_orders` AFTER DELETE ON `public`.`orders`
  FOR EACH ROW BEGIN
  DECLARE tailrace_version char(16) DEFAULT 'cac0954315c0bc96';
  INSERT INTO `public`.`tailrace_changes_orders` (`op`, `version`, `changed_at`, `old_id`, `old_note`)
    VALUES ('d', 'cac0954315c0bc96', UTC_TIMESTAMP(6), OLD.`id`, OLD.`note`);
END//
DELIMITER ;
INSERT INTO `public`.`tailrace_changes_orders` (`op`, `version`, `changed_at`, `new_id`, `new_note`)
  SELECT 'r', 'cac0954315c0bc96', UTC_TIMESTAMP(6), `id`, `note`
  FROM `public`.`orders` ORDER BY `id`;
UNLOCK TABLES;
