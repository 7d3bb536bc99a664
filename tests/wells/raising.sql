SELECT nope FROM data
