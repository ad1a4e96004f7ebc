// replaced by the first source of env
