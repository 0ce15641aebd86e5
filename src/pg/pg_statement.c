#include "pg/pg_statement.h"
