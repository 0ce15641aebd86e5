#include "pg/pg_crypto.h"
