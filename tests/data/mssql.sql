-- What `larder sync` says to SQL Server of the table that it makes, each statement behind its name. @P1, @P2, ... are parameters, of nvarchar.
-- It inserts up to 100 rows at a time, and asks for up to 1,000 payloads. Statements with rows in them are said by sp_executesql.

-- lock
DECLARE @got int;
EXEC @got = sp_getapplock @Resource = @P1, @LockMode = N'Exclusive', @LockOwner = N'Session', @LockTimeout = 0;
SELECT @got

-- columns
SELECT s.name, o.name, c.name, t.name
FROM sys.objects AS o
JOIN sys.schemas AS s ON s.schema_id = o.schema_id
JOIN sys.columns AS c ON c.object_id = o.object_id
JOIN sys.types AS t ON t.user_type_id = c.system_type_id
WHERE o.object_id = OBJECT_ID(@P1, N'U')
ORDER BY c.column_id

-- unique
SELECT 1
FROM sys.indexes AS i
JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id AND k.key_ordinal = 1
JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id
WHERE i.object_id = OBJECT_ID(@P1, N'U') AND c.name = @P2 AND i.is_unique = 1 AND i.is_disabled = 0 AND i.has_filter = 0
AND NOT EXISTS (SELECT 1 FROM sys.index_columns AS o
WHERE o.object_id = i.object_id AND o.index_id = i.index_id AND o.key_ordinal > 1)

-- schema
SELECT 1 WHERE SCHEMA_ID(@P1) IS NOT NULL

-- begin
BEGIN TRANSACTION

-- commit
COMMIT TRANSACTION

-- rollback
IF XACT_STATE() <> 0 ROLLBACK TRANSACTION

-- state
SELECT CAST(XACT_STATE() AS int)

-- settings
SET ANSI_NULLS ON;
SET ANSI_PADDING ON;
SET ANSI_WARNINGS ON;
SET ARITHABORT ON;
SET CONCAT_NULL_YIELDS_NULL ON;
SET QUOTED_IDENTIFIER ON;
SET NUMERIC_ROUNDABORT OFF;
SET IMPLICIT_TRANSACTIONS OFF;
SET XACT_ABORT OFF;
SET NOCOUNT OFF;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET TEXTSIZE 2147483647;
SET LOCK_TIMEOUT 30000

-- create schema
CREATE SCHEMA [lake]

-- create
IF OBJECT_ID(N'[lake].[RawExchangeRecord]', N'U') IS NULL
CREATE TABLE [lake].[RawExchangeRecord] (
    [exchange_id] uniqueidentifier NOT NULL PRIMARY KEY,
    [exchange_type] nvarchar(50) NOT NULL,
    [source_system] nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [entity_type] nvarchar(100) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [natural_key] nvarchar(500) COLLATE Latin1_General_100_BIN2 NULL,
    [observed_at_utc] datetime2 NULL,
    [content_sha256] char(64) COLLATE Latin1_General_100_BIN2 NOT NULL CHECK (LEN([content_sha256]) = 64),
    [payload_json] nvarchar(max) NOT NULL,
    [schema_version] int NOT NULL DEFAULT 1,
    [created_at_utc] datetime2 NOT NULL DEFAULT SYSUTCDATETIME(),
    [updated_at_utc] datetime2 NOT NULL DEFAULT SYSUTCDATETIME()
)

-- index by hash
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'[lake].[RawExchangeRecord]') AND name = N'RawExchangeRecord_by_hash')
CREATE UNIQUE INDEX [RawExchangeRecord_by_hash] ON [lake].[RawExchangeRecord] ([content_sha256])

-- index by key
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'[lake].[RawExchangeRecord]') AND name = N'RawExchangeRecord_by_key')
CREATE INDEX [RawExchangeRecord_by_key] ON [lake].[RawExchangeRecord] ([source_system], [entity_type], [natural_key]) WHERE [natural_key] IS NOT NULL

-- index by scope and time
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'[lake].[RawExchangeRecord]') AND name = N'RawExchangeRecord_by_scope_and_time')
CREATE INDEX [RawExchangeRecord_by_scope_and_time] ON [lake].[RawExchangeRecord] ([source_system], [entity_type], [observed_at_utc] DESC)

-- index by time
IF NOT EXISTS (SELECT 1 FROM sys.indexes WHERE object_id = OBJECT_ID(N'[lake].[RawExchangeRecord]') AND name = N'RawExchangeRecord_by_time')
CREATE INDEX [RawExchangeRecord_by_time] ON [lake].[RawExchangeRecord] ([observed_at_utc] DESC)

-- scan
SELECT CAST([content_sha256] AS nvarchar(4000)), CAST([natural_key] AS nvarchar(max)) FROM [lake].[RawExchangeRecord]
WHERE [source_system] = @P1 AND [source_system] COLLATE Latin1_General_100_BIN2 = @P1
AND DATALENGTH(CAST([source_system] AS nvarchar(max))) = DATALENGTH(@P1)
AND [entity_type] = @P2 AND [entity_type] COLLATE Latin1_General_100_BIN2 = @P2
AND DATALENGTH(CAST([entity_type] AS nvarchar(max))) = DATALENGTH(@P2)

-- count
SELECT COUNT_BIG(*) FROM [lake].[RawExchangeRecord]
WHERE [source_system] = @P1 AND [source_system] COLLATE Latin1_General_100_BIN2 = @P1
AND DATALENGTH(CAST([source_system] AS nvarchar(max))) = DATALENGTH(@P1)
AND [entity_type] = @P2 AND [entity_type] COLLATE Latin1_General_100_BIN2 = @P2
AND DATALENGTH(CAST([entity_type] AS nvarchar(max))) = DATALENGTH(@P2)

-- any
SELECT TOP (1) 1 FROM [lake].[RawExchangeRecord]

-- payloads
SELECT CAST([content_sha256] AS nvarchar(4000)), CAST([payload_json] AS nvarchar(max)) FROM [lake].[RawExchangeRecord]
WHERE [content_sha256] IN (CAST(@P1 AS varchar(64)), CAST(@P2 AS varchar(64)))

-- has
SELECT TOP (1) 1 FROM [lake].[RawExchangeRecord] WHERE [content_sha256] = CAST(@P1 AS varchar(64)) AND [content_sha256] COLLATE Latin1_General_100_BIN2 = CAST(@P1 AS varchar(64))

-- insert
INSERT INTO [lake].[RawExchangeRecord] ([exchange_id], [exchange_type], [source_system], [entity_type], [natural_key], [observed_at_utc], [content_sha256], [payload_json], [schema_version]) VALUES
(CAST(@P1 AS uniqueidentifier), @P2, @P3, @P4, @P5, CAST(@P6 AS datetimeoffset), @P7, @P8, @P9),
(CAST(@P10 AS uniqueidentifier), @P11, @P12, @P13, @P14, CAST(@P15 AS datetimeoffset), @P16, @P17, @P18)

-- update
UPDATE [lake].[RawExchangeRecord] SET [exchange_id] = CAST(@P1 AS uniqueidentifier), [exchange_type] = @P2, [source_system] = @P3, [entity_type] = @P4, [natural_key] = @P5, [observed_at_utc] = CAST(@P6 AS datetimeoffset), [content_sha256] = @P7, [payload_json] = @P8, [schema_version] = @P9, [updated_at_utc] = SYSUTCDATETIME()
WHERE [content_sha256] = CAST(@P10 AS varchar(64)) AND [content_sha256] COLLATE Latin1_General_100_BIN2 = CAST(@P10 AS varchar(64))
